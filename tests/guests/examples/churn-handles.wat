;; Makes handles of a resource of its own and drops them, for ever.
(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "r" "new" (func $new (param i32) (result i32)))
    (import "r" "drop" (func $drop (param i32)))
    (func $start (loop $again
      (call $drop (call $new (i32.const 1)))
      (br $again)))
    (start $start))
  (core instance (instantiate $m (with "r" (instance (export "new" (func $new)) (export "drop" (func $drop)))))))
