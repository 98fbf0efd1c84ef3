"""Runs the real template on one machine: built by SAM and deployed to the MiniStack emulator."""
