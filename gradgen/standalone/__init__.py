"""A saved module in other people's hands: functions that make its arguments, a call to copy, a test of its own."""
