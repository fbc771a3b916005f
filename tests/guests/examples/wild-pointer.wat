;; Passes a text that lies outside of its memory.
(component
  (import "glasshouse:extension/debugging@0.1.0" (instance $d
    (type $level0 (enum "trace" "debug" "info" "warning" "error" "critical"))
    (export "level" (type $level (eq $level0)))
    (type $value0 (variant (case "text" string) (case "integer" s64) (case "float" f64) (case "boolean" bool)))
    (export "value" (type $value (eq $value0)))
    (type $field0 (record (field "name" string) (field "value" $value)))
    (export "field" (type $field (eq $field0)))
    (export "log" (func (param "level" $level) (param "message" string) (param "fields" (list $field))))))
  (core module $mem (memory (export "memory") 1))
  (core instance $mem (instantiate $mem))
  (core func $log (canon lower (func $d "log") (memory (core memory $mem "memory"))))
  (core module $m
    (import "mem" "memory" (memory 1))
    (import "d" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func $start 
      (call $log (i32.const 2) (i32.const -32) (i32.const 16) (i32.const 0) (i32.const 0)))
    (start $start))
  (core instance (instantiate $m (with "mem" (instance $mem)) (with "d" (instance (export "log" (func $log)))))))
