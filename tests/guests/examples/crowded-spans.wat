;; Starts and ends spans with a hundred thousand empty fields, for ever.
(component
  (import "glasshouse:extension/debugging@0.1.0" (instance $d
    (type $level0 (enum "trace" "debug" "info" "warning" "error" "critical"))
    (export "level" (type $level (eq $level0)))
    (type $value0 (variant (case "text" string) (case "integer" s64) (case "float" f64) (case "boolean" bool)))
    (export "value" (type $value (eq $value0)))
    (type $field0 (record (field "name" string) (field "value" $value)))
    (export "field" (type $field (eq $field0)))
    (type $kind0 (enum "internal" "server" "client" "producer" "consumer"))
    (export "span-kind" (type $kind (eq $kind0)))
    (export "span" (type $span (sub resource)))
    (export "[static]span.start" (func (param "name" string) (param "kind" $kind) (param "fields" (list $field)) (result (own $span))))
    (export "[method]span.fail" (func (param "self" (borrow $span)) (param "message" string)))
    (export "log" (func (param "level" $level) (param "message" string) (param "fields" (list $field))))))
  (alias export $d "span" (type $span))
  (core module $mem (memory (export "memory") 64))
  (core instance $mem (instantiate $mem))
  (core func $start (canon lower (func $d "[static]span.start") (memory (core memory $mem "memory"))))
  (core func $fail (canon lower (func $d "[method]span.fail") (memory (core memory $mem "memory"))))
  (core func $drop (canon resource.drop $span))
  (core module $m
    (import "d" "start" (func $span (param i32 i32 i32 i32 i32) (result i32)))
    (import "d" "fail" (func $fail (param i32 i32 i32)))
    (import "d" "drop" (func $drop (param i32)))
    (func $start 
      (loop $again
        (call $drop (call $span (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100000)))
        (br $again)))
    (start $start))
  (core instance (instantiate $m (with "d" (instance
    (export "start" (func $start)) (export "fail" (func $fail)) (export "drop" (func $drop)))))))
