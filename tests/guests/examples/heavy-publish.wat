;; Publishes 12 MiB at a time, which it may not, for ever.
(component
  (import "glasshouse:extension/events@0.1.0" (instance $events
    (type $error0 (variant (case "denied") (case "invalid-topic") (case "full" (list string))))
    (export "publish-error" (type $error (eq $error0)))
    (export "publish" (func (param "topic" string) (param "content-type" string) (param "payload" (list u8))
      (result (result string (error $error)))))))
  (core module $mem
    (memory (export "memory") 300)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $mem (instantiate $mem))
  (core func $ask (canon lower (func $events "publish") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (core module $m
    (import "mem" "memory" (memory 300))
    (import "events" "ask" (func $ask (param i32 i32 i32 i32 i32 i32 i32)))
    (func $start
      (memory.fill (i32.const 4096) (i32.const 97) (i32.const 12582912))
      (loop $again
        (call $ask (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 12582912) (i32.const 64))
        (br $again)))
    (start $start))
  (core instance (instantiate $m (with "mem" (instance $mem)) (with "events" (instance (export "ask" (func $ask)))))))
