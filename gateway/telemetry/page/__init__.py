"""The files of the live page, as browsers get them: no step builds them.

`uPlot.iife.min.js` and `uPlot.min.css` are uPlot 1.6.32 (https://github.com/leeoniya/uPlot),
unchanged, under the licence in `uPlot.LICENSE.txt`.
"""
