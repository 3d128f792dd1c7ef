"""What the gateway does at this moment, for people: the numbers behind the page, its JSON and `gateway top`."""
