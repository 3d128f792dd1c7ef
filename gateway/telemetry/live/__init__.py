"""What the gateway does at this moment, for people.

The numbers behind the page, its JSON and `gateway top`.
"""
