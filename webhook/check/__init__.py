"""`raywarden check`: facts collected first, then judged."""
