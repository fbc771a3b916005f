;; Waits for a million events at once, all of them the same one, which has happened already; for ever.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "pollable" (type $pollable (eq $p)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core module $mem
    (memory (export "memory") 200)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4194304)))
  (core instance $mem (instantiate $mem))
  (core func $poll (canon lower (func $poll "poll") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "mem" "memory" (memory 200))
    (import "wasi" "poll" (func $poll (param i32 i32 i32)))
    (import "wasi" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "wasi" "now" (func $now (result i64)))
    (func $start (local i32 i32)
      (local.set 1 (call $subscribe (i64.const 0)))
      (loop $next
        (i32.store (local.get 0) (local.get 1))
        (local.set 0 (i32.add (local.get 0) (i32.const 4)))
        (br_if $next (i32.lt_u (local.get 0) (i32.const 4000000))))
      (loop $again
        (call $poll (i32.const 0) (i32.const 1000000) (i32.const 8388608))
        (br $again)))
    (start $start))
  (core instance (instantiate $m (with "mem" (instance $mem)) (with "wasi" (instance
    (export "poll" (func $poll)) (export "subscribe" (func $subscribe)) (export "now" (func $now)))))))
