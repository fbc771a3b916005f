;; Imports an interface that nobody offers.
(component
  (import "acme:coffee/machine@1.0.0" (instance (export "brew" (func (param "cups" u32))))))
