"""The durable objects, and what they call.

triggers      turns deliveries into builds
scheduler     starts queued builds as the limits allow
build_buddy   owns one build: decides every step of its life and alone declares it done
build_life    what the buddy knows of its build, and how it changes
own_step      what we say ourselves in the log of a job
dispatcher    what runners talk to
builder       what people ask for: start, retry, cancel
"""
