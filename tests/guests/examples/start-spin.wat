;; Loops for ever in the start function of its core module, before any export can be called.
(component
  (core module $spin
    (func $spin (loop $again (br $again)))
    (start $spin))
  (core instance (instantiate $spin)))
