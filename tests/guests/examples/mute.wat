;; Exports nothing: it can be started, but takes no events.
(component)
