;; One component inside passes a text of 12 MiB to another, again and again. The two write text in other encodings, so that
;; the engine has to translate it each time, for which no fuel is used.
(component
  (component $taker
    (core module $m
      (memory (export "memory") 400)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export "take") (param i32 i32)))
    (core instance $i (instantiate $m))
    (func (export "take") (param "what" string)
      (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc")) string-encoding=utf16)))
  (component $giver
    (import "take" (func $take (param "what" string)))
    (core module $mem (memory (export "memory") 300))
    (core instance $mem (instantiate $mem))
    (core func $take (canon lower (func $take) (memory (core memory $mem "memory")) string-encoding=utf8))
    (core module $m
      (import "mem" "memory" (memory 300))
      (import "taker" "take" (func $take (param i32 i32)))
      (func $start
        (memory.fill (i32.const 0) (i32.const 65) (i32.const 12582912))
        (loop $again
          (call $take (i32.const 0) (i32.const 12582912))
          (br $again)))
      (start $start))
    (core instance (instantiate $m (with "mem" (instance $mem)) (with "taker" (instance (export "take" (func $take)))))))
  (instance $taker (instantiate $taker))
  (instance (instantiate $giver (with "take" (func $taker "take")))))
