;; Copies half of a large table over the other half, again and again.
(component
  (core module $m
    (table $t 900000 funcref)
    (func $start (loop $again
      (table.copy $t $t (i32.const 0) (i32.const 450000) (i32.const 450000))
      (br $again)))
    (start $start))
  (core instance (instantiate $m)))
