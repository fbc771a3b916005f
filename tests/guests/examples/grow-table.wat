;; Grows a table again and again, and goes on when it is told no.
(component
  (core module $m
    (table $t 0 funcref)
    (func $start (loop $again
      (drop (table.grow $t (ref.null func) (i32.const 100000)))
      (br $again)))
    (start $start))
  (core instance (instantiate $m)))
