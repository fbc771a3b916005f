;; Makes garbage for the collector for ever.
(component
  (core module $m
    (type $s (struct (field i64)))
    (func $start (loop $again (drop (struct.new $s (i64.const 1))) (br $again)))
    (start $start))
  (core instance (instantiate $m)))
