;; A component that calls by the host's rules what itself has lifted.
(component
  (core module $lifted (memory (export "memory") 1) (func (export "take") (param i32 i32))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $i (instantiate $lifted))
  (func $take (param "what" string)
    (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (core func $call (canon lower (func $take) (memory (core memory $i "memory"))))
  (core module $m
    (import "self" "take" (func $take (param i32 i32)))
    (func $start (call $take (i32.const 0) (i32.const 100)))
    (start $start))
  (core instance (instantiate $m (with "self" (instance (export "take" (func $call)))))))
