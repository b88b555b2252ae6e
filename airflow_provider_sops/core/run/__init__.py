# SPDX-License-Identifier: Apache-2.0
"""Running a SOPS task exactly once, without I/O: search, create, search again, start; and what a retry does with what
it finds.

SOPS has no idempotency key. What makes up for it is that a created task does nothing until it is started, that its
name is free text which can be searched for, and that starting a started task is refused. So each task is created with
a tag at the end of its name, found again by this tag, and only then started.
"""
