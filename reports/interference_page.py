def write_interference_page(run): return run
