NEEDS = ()
