"""From the rows of a table to packed images that wait on disk.

`pack` handles one photograph, `table` all of them, in worker processes; `spool` keeps the results
over interruptions; `rejects` lists what was left out, `duplicates` what is there twice.
"""
