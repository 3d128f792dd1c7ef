"""Many changes make one publication, and a caller that waits is not kept waiting."""

from __future__ import annotations

import asyncio

from gateway.control.lifecycle.publisher import Publisher


class TestBulletin:
    def run(self, test, pause_s=0.0):
        published = []

        async def publish():
            published.append(None)

        async def main():
            publisher = Publisher(publish, pause_s)
            await test(publisher, published)
            publisher.close()

        asyncio.run(main())

    def test_nothing_is_published_before_it_is_opened(self):
        async def test(publisher, published):
            publisher.soon()
            await publisher.now()
            assert not published
            publisher.open()
            await asyncio.sleep(0)
            assert len(published) == 1

        self.run(test)

    def test_many_changes_make_one_publication(self):
        async def test(publisher, published):
            publisher.open()
            for _ in range(100):
                publisher.soon()
            while len(published) < 2:
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(published) == 2

        self.run(test)

    def test_who_waits_is_not_kept_for_the_pause(self):
        async def test(publisher, published):
            publisher.open()
            await asyncio.sleep(0)
            publisher.soon()
            await publisher.now()
            assert len(published) == 2
            assert "pending" not in repr(publisher)

        self.run(test, pause_s=3600)
