;; Fills nearly all of the memory that it may have, again and again.
(component
  (core module $m
    (memory 900)
    (func $start (loop $again
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 58982400))
      (br $again)))
    (start $start))
  (core instance (instantiate $m)))
