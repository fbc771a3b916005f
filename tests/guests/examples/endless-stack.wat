;; Calls itself for ever, with nothing on a stack of its own: the one that wasmtime guards.
(component
  (core module $m
    (func $deeper (param i64) (result i64)
      (i64.add (i64.const 1) (call $deeper (i64.add (local.get 0) (i64.const 1)))))
    (func $start (drop (call $deeper (i64.const 0))))
    (start $start))
  (core instance (instantiate $m)))
