;; Has a memory with addresses of 64 bits.
(component
  (core module $m
    (memory i64 1)
    (func $start (drop (memory.grow (i64.const -1))))
    (start $start))
  (core instance (instantiate $m)))
