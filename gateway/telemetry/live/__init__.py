"""What the gateway does at this moment: the numbers behind the page, its JSON, `gateway top`."""
