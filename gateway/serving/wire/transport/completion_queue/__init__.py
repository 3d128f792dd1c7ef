"""A gRPC server on asyncio, straight over grpcio's completion queue.

grpc.aio spends 150-200 us of Python on a call whose C core takes 14; served off the queue a call
costs 25-40. `internals` names all that is private to grpcio and checks it, `queue` brings events to
the loop, `calls` and `streams` are one call each, `server` starts and stops.
"""
