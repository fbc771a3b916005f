;; Calls a neighbour with 12 MiB at a time, which it may not, for ever.
(component
  (import "glasshouse:extension/events@0.1.0" (instance $events
    (type $event0 (record (field "name" string) (field "content-type" string) (field "payload" (list u8))))
    (export "event" (type $event (eq $event0)))
    (type $reply0 (record (field "content-type" string) (field "payload" (list u8))))
    (export "reply" (type $reply (eq $reply0)))
    (type $failed0 (variant (case "unknown-event" string) (case "invalid-payload" string) (case "failed" (tuple string string))))
    (export "handler-error" (type $failed (eq $failed0)))
    (type $error0 (variant (case "denied") (case "unknown-extension") (case "busy" u32) (case "unavailable" string)
      (case "cycle") (case "answered" $failed) (case "failed" string)))
    (export "call-error" (type $error (eq $error0)))
    (export "call" (func (param "extension" string) (param "event" $event) (result (result $reply (error $error)))))))
  (core module $mem
    (memory (export "memory") 300)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $mem (instantiate $mem))
  (core func $ask (canon lower (func $events "call") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (core module $m
    (import "mem" "memory" (memory 300))
    (import "events" "ask" (func $ask (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (func $start
      (memory.fill (i32.const 4096) (i32.const 97) (i32.const 12582912))
      (loop $again
        (call $ask (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 8) (i32.const 4096) (i32.const 12582912) (i32.const 64))
        (br $again)))
    (start $start))
  (core instance (instantiate $m (with "mem" (instance $mem)) (with "events" (instance (export "ask" (func $ask)))))))
