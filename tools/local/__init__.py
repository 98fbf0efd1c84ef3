"""The real template on one machine: built by sam, deployed to the MiniStack emulator, used over HTTP."""
