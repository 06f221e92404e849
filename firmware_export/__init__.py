"""Exports a global expert and its trainer as C99 for a microcontroller, and measures them on emulated boards."""
