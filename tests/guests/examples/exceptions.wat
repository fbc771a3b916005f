;; Throws and catches for ever, which no meter sees.
(component
  (core module $m
    (tag $t)
    (func $start (loop $again (block $caught (try_table (catch_all $caught) (throw $t))) (br $again)))
    (start $start))
  (core instance (instantiate $m)))
