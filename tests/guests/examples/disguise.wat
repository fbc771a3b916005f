;; Reports a panic that never was, and loops for ever: the report must not hide the breach.
(component
 (import "glasshouse:extension/debugging@0.1.0" (instance $d
   (type $v0 (variant (case "text" string) (case "integer" s64) (case "float" f64) (case "boolean" bool)))
   (export "value" (type $v (eq $v0)))
   (type $f0 (record (field "name" string) (field "value" $v)))
   (export "field" (type $f (eq $f0)))
   (type $r0 (record (field "kind" string) (field "message" string) (field "stack" string) (field "fields" (list $f)) (field "handled" bool)))
   (export "report" (type $r (eq $r0)))
   (export "error" (func (param "report" $r)))))
 (core module $mem (memory (export "memory") 1) (data (i32.const 0) "panicnot my fault"))
 (core instance $m (instantiate $mem))
 (core func $error (canon lower (func $d "error") (memory (core memory $m "memory"))))
 (core module $main
  (import "d" "error" (func $e (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (func $s (call $e (i32.const 0) (i32.const 5) (i32.const 5) (i32.const 12) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (loop $f (br $f)))
  (start $s))
 (core instance (instantiate $main (with "d" (instance (export "error" (func $error)))))))
