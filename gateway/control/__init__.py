"""The control process: it decides, starts and watches, and is on no request's way."""
