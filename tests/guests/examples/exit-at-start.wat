;; Ends its own process before it has begun.
(component
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
  (core func $exit (canon lower (func $exit "exit")))
  (core module $m
    (import "wasi" "exit" (func $exit (param i32)))
    (func $start (call $exit (i32.const 1)))
    (start $start))
  (core instance (instantiate $m (with "wasi" (instance (export "exit" (func $exit)))))))
