;; Asks for more random bytes than there is memory in the world.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core module $mem
    (memory (export "memory") 32)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $mem (instantiate $mem))
  (core func $bytes (canon lower (func $random "get-random-bytes") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (core module $m
    (import "random" "bytes" (func $bytes (param i64 i32)))
    (func $start (loop $again
      (call $bytes (i64.const -1) (i32.const 0))
      (br $again)))
    (start $start))
  (core instance (instantiate $m (with "random" (instance (export "bytes" (func $bytes)))))))
