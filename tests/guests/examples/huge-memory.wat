;; Has a memory of 1 GiB from the start.
(component
  (core module $huge (memory 16384))
  (core instance (instantiate $huge)))
