;; Calls the host from the function by which the host asks it for memory.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (core func $number (canon lower (func $random "get-random-u64")))
  (core module $mem
    (import "random" "number" (func $number (result i64)))
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (drop (call $number)) (i32.const 64)))
  (core instance $mem (instantiate $mem (with "random" (instance (export "number" (func $number))))))
  (core func $bytes (canon lower (func $random "get-random-bytes") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (core module $m
    (import "random" "bytes" (func $bytes (param i64 i32)))
    (func $start (call $bytes (i64.const 8) (i32.const 0)))
    (start $start))
  (core instance (instantiate $m (with "random" (instance (export "bytes" (func $bytes)))))))
