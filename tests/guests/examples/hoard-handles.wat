;; Makes handles of a resource of its own and keeps them all.
(component
  (type $r (resource (rep i32)))
  (core func $new (canon resource.new $r))
  (core module $m
    (import "r" "new" (func $new (param i32) (result i32)))
    (func $start (loop $again
      (drop (call $new (i32.const 1)))
      (br $again)))
    (start $start))
  (core instance (instantiate $m (with "r" (instance (export "new" (func $new)))))))
