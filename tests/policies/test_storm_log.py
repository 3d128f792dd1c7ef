"""However many warnings there are, the log shows the first at once and a count every ten seconds."""

import asyncio
import logging

from fallback_parts import in_virtual_time

from gateway.logs.storm_log import StormLog


def test_the_first_is_told_at_once_the_others_are_counted_and_after_a_quiet_time_there_is_a_first_again(caplog):
    async def main():
        log = StormLog(logging.getLogger("storm"), "calls failed")
        for i in range(3):
            log.tell(f"call {i}")
        assert caplog.messages == ["call 0"]
        await asyncio.sleep(11)
        log.tell("call 3")  # ten more seconds are counted
        await asyncio.sleep(10)
        assert caplog.messages[1:] == ["2 more calls failed in 10 s; the last: call 2", "1 more calls failed in 10 s; the last: call 3"]
        await asyncio.sleep(11)
        log.tell("call 4", ValueError("why"))
        assert caplog.messages[3:] == ["call 4"]
        assert caplog.records[-1].exc_info[0] is ValueError

    in_virtual_time(main())
