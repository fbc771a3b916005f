;; Passes a list of 40,000 fields, all of which are the same page of text: gigabytes, for one megabyte of memory.
(component
  (import "glasshouse:extension/debugging@0.1.0" (instance $d
    (type $level0 (enum "trace" "debug" "info" "warning" "error" "critical"))
    (export "level" (type $level (eq $level0)))
    (type $value0 (variant (case "text" string) (case "integer" s64) (case "float" f64) (case "boolean" bool)))
    (export "value" (type $value (eq $value0)))
    (type $field0 (record (field "name" string) (field "value" $value)))
    (export "field" (type $field (eq $field0)))
    (export "log" (func (param "level" $level) (param "message" string) (param "fields" (list $field))))))
  (core module $mem (memory (export "memory") 17))
  (core instance $mem (instantiate $mem))
  (core func $log (canon lower (func $d "log") (memory (core memory $mem "memory"))))
  (core module $m
    (import "mem" "memory" (memory 17))
    (import "d" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func $start (local i32)
      (memory.fill (i32.const 0) (i32.const 65) (i32.const 65536))
      (local.set 0 (i32.const 65536))
      (loop $next
        (i32.store offset=4 (local.get 0) (i32.const 65536))
        (i32.store offset=20 (local.get 0) (i32.const 65536))
        (local.set 0 (i32.add (local.get 0) (i32.const 24)))
        (br_if $next (i32.lt_u (local.get 0) (i32.const 1025536))))
      (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 40000)))
    (start $start))
  (core instance (instantiate $m (with "mem" (instance $mem)) (with "d" (instance (export "log" (func $log)))))))
