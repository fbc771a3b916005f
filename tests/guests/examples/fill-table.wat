;; Fills the largest table that it may have, again and again.
(component
  (core module $m
    (table $t 900000 funcref)
    (elem declare func $start)
    (func $start (loop $again
      (table.fill $t (i32.const 0) (ref.func $start) (i32.const 900000))
      (br $again)))
    (start $start))
  (core instance (instantiate $m)))
