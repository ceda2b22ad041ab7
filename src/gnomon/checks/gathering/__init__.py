"""Where the rows come from that are judged: two data sets, or a fitted model and data it has not seen."""
