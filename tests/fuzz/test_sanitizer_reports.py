"""What of the sanitizers' reports is a finding."""

from __future__ import annotations

from tests.fuzz.sanitizer_reports import findings

LEAKS = """
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 640 byte(s) in 8 object(s) allocated from:
    #0 0x7f in __interceptor_realloc ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:85
    #1 0x7f  (/somewhere/site-packages/another.abi3.so+0x9a94df)

{ours}
SUMMARY: AddressSanitizer: 640 byte(s) leaked in 8 allocation(s).
"""
OURS = """Indirect leak of 262144 byte(s) in 1 object(s) allocated from:
    #0 0x7f in __interceptor_malloc ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:69
    #1 0x7f in batch_init sfu/net/batch.h:94
"""
OVERFLOW = "==9==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60\nREAD of size 8\n"


def test_what_another_library_keeps_is_no_finding() -> None:
    assert findings(LEAKS.format(ours="")) == []


def test_memory_that_our_files_took_and_lost_is_a_finding() -> None:
    assert findings(LEAKS.format(ours=OURS)) == [OURS.strip()]


def test_every_other_report_is_a_finding() -> None:
    assert findings(OVERFLOW) == [OVERFLOW.strip()]
    assert findings("") == []
