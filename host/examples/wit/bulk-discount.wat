;; A rule of the world `rule`: from ten pieces on, a tenth is off.
(component
  (import "shop:rules/prices@0.1.0" (instance $prices
    (export "lookup" (func (param "article" string) (result (option u32))))))

  ;; Memory, and a bump allocator that is reset after each call.
  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at))
    (func (export "reset") (param $reply i32)
      (global.set $next (i32.const 1024))))
  (core instance $memory (instantiate $memory))

  (core func $lookup
    (canon lower (func $prices "lookup") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core instance $imports (export "lookup" (func $lookup)))

  (core module $rule
    (import "memory" "memory" (memory 1))
    (import "prices" "lookup" (func $lookup (param i32 i32 i32)))
    ;; The option is at 16: whether there is a value, and at 20 the value. It is both what lookup gives and the reply.
    (func (export "quote") (param $article i32) (param $bytes i32) (param $pieces i32) (result i32)
      (local $price i32)
      (call $lookup (local.get $article) (local.get $bytes) (i32.const 16))
      (if (i32.load8_u (i32.const 16))
        (then
          (local.set $price (i32.mul (i32.load (i32.const 20)) (local.get $pieces)))
          (if (i32.ge_u (local.get $pieces) (i32.const 10))
            (then
              (local.set $price
                (i32.sub (local.get $price) (i32.div_u (local.get $price) (i32.const 10))))))
          (i32.store (i32.const 20) (local.get $price))))
      (i32.const 16)))
  (core instance $rule (instantiate $rule (with "memory" (instance $memory)) (with "prices" (instance $imports))))

  (func $quote (param "article" string) (param "pieces" u32) (result (option u32))
    (canon lift (core func $rule "quote")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc")) (post-return (core func $memory "reset"))))
  (instance $quotes (export "quote" (func $quote)))
  (export "shop:rules/quotes@0.1.0" (instance $quotes)))
