;; Grows its memory by nothing, for ever: each time the host is asked.
(component
  (core module $m
    (memory 1)
    (func $start (loop $again
      (drop (memory.grow (i32.const 0)))
      (br $again)))
    (start $start))
  (core instance (instantiate $m)))
