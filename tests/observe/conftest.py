import sys
from pathlib import Path

END_TO_END = str(Path(__file__).parents[1] / "end_to_end")
if END_TO_END not in sys.path:  # the programs that tests start are at home there
    sys.path.insert(0, END_TO_END)
