;; Copies half of its memory over the other half, again and again.
(component
  (core module $m
    (memory 900)
    (func $start (loop $again
      (memory.copy (i32.const 0) (i32.const 29491200) (i32.const 29491200))
      (br $again)))
    (start $start))
  (core instance (instantiate $m)))
