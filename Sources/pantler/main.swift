print("pantler")
