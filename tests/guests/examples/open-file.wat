;; Opens a file of the first folder that it was granted while it starts. It has no SDK, and knows WASI only.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $files
    (export "descriptor" (type $descriptor (sub resource)))
    (type $path (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $path)))
    (type $open (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $open)))
    (type $access (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $access)))
    (type $error (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
      "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links" "message-size"
      "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space" "not-directory" "not-empty"
      "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek"
      "text-file-busy" "cross-device"))
    (export "error-code" (type $error-code (eq $error)))
    (export "[method]descriptor.open-at" (func
      (param "self" (borrow $descriptor)) (param "path-flags" $path-flags) (param "path" string)
      (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error-code)))))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $folders
    (alias outer 1 $descriptor (type $d))
    (export "descriptor" (type $descriptor (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
  (core module $mem
    (memory (export "memory") 1)
    (data (i32.const 16) "there.txt")
    (data (i32.const 32) "it was not opened")
    (global $next (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
  (core instance $mem (instantiate $mem))
  (core func $folders (canon lower (func $folders "get-directories")
    (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (core func $open (canon lower (func $files "[method]descriptor.open-at") (memory (core memory $mem "memory"))))
  (core module $m
    (import "mem" "memory" (memory 1))
    (import "wasi" "folders" (func $folders (param i32)))
    (import "wasi" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    ;; The list of folders is at 64, what came of opening at 80, and what init answers at 0.
    (func (export "init") (param i32 i32) (result i32)
      (call $folders (i32.const 64))
      (call $open (i32.load (i32.load (i32.const 64))) (i32.const 1) (i32.const 16) (i32.const 9) (i32.const 0) (i32.const 1) (i32.const 80))
      (i32.store8 (i32.const 0) (i32.load8_u (i32.const 80)))
      (i32.store (i32.const 4) (i32.const 32))
      (i32.store (i32.const 8) (i32.const 17))
      (i32.const 0))
    (func (export "shutdown"))
    (func (export "save") (result i32) (i32.const 128))
    (func (export "restore") (param i32 i32) (result i32) (i32.const 128)))
  (core instance $i (instantiate $m (with "mem" (instance $mem)) (with "wasi" (instance
    (export "folders" (func $folders)) (export "open" (func $open))))))
  (func $init (param "config" string) (result (result (error string)))
    (canon lift (core func $i "init") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (func $shutdown (canon lift (core func $i "shutdown")))
  (func $save (result (option (list u8))) (canon lift (core func $i "save") (memory (core memory $mem "memory"))))
  (func $restore (param "state" (list u8)) (result (result (error string)))
    (canon lift (core func $i "restore") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))
  (instance (export "glasshouse:extension/lifecycle@0.1.0")
    (export "init" (func $init)) (export "shutdown" (func $shutdown)) (export "save" (func $save)) (export "restore" (func $restore))))
