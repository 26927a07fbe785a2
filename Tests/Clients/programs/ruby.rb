# Pantler from Ruby, by Net::HTTP.
require "erb"
require "json"
require "net/http"
require "stringio"

url = URI(ENV.fetch("PANTLER_URL", "http://127.0.0.1:8080"))
SHOP = "/v1/namespaces/ruby"
HTTP = Net::HTTP.start(url.host, url.port) # keeps its connection

def check(right, answer) = right || raise("#{answer.code} #{answer.body}")
def value(answer) = JSON.parse(answer.body)["value"]
def get(path, headers = {}) = HTTP.get(SHOP + path, headers)
# Net::HTTP says of a body without a content type that it is a form; it is read as JSON all the same.
def put(path, value, headers = {}) = HTTP.send_request("PUT", SHOP + path, { value: value, ttl: 60 }.to_json, headers)

# Put and get.
answer = put("/entries/product-42", { name: "Quince jelly", price: 4.2 })
check answer.is_a?(Net::HTTPSuccess), answer
entry = get("/entries/product-42")
check value(entry) == { "name" => "Quince jelly", "price" => 4.2 }, entry

# A miss says why.
miss = get("/entries/nothing")
check miss.is_a?(Net::HTTPNotFound) && JSON.parse(miss.body)["reason"] == "absent", miss

# Compare and set: what was read is replaced only if nobody else was there first.
answer = put("/entries/product-42", 1, "If-Match" => entry["ETag"])
check answer.is_a?(Net::HTTPSuccess), answer
answer = put("/entries/product-42", 2, "If-Match" => entry["ETag"])
check answer.code == "412" && JSON.parse(answer.body)["code"] == "version_mismatch", answer
# Ask again only for what has changed.
answer = get("/entries/product-42", "If-None-Match" => get("/entries/product-42")["ETag"])
check answer.code == "304", answer

# Bytes with a media type.
logo = "\x89PNG\r\n\x1a\n\x00".b
answer = HTTP.send_request("PUT", "#{SHOP}/values/logo?ttl=60", logo, "Content-Type" => "image/png")
check answer.is_a?(Net::HTTPSuccess), answer
answer = get("/values/logo")
check answer.body.b == logo && answer["Content-Type"] == "image/png", answer
# A stream goes up in chunks.
request = Net::HTTP::Put.new("#{SHOP}/values/chunks", "Transfer-Encoding" => "chunked", "Content-Type" => "text/plain")
request.body_stream = StringIO.new("onetwo")
answer = HTTP.request(request)
check answer.is_a?(Net::HTTPSuccess), answer
answer = get("/values/chunks")
check answer.body == "onetwo", answer

# Many in one round trip. A POST says that it is JSON.
keys = { keys: ["product-42", "nothing"] }.to_json
found = JSON.parse(HTTP.post("#{SHOP}/batch/get", keys, "Content-Type" => "application/json").body)
raise found.to_s unless found["entries"].map { _1["key"] } == ["product-42"] && found["missing"] == ["nothing"]

# Of all who miss at once one gets a lease and loads; the others wait for what it puts, or are told that it is about to.
def take(body) = HTTP.post("#{SHOP}/leases/report", body.to_json, "Content-Type" => "application/json")
taken = take({ ttl: 30 })
check taken.code == "201", taken
held = take({ wait: 0.1 })
check held.code == "409" && JSON.parse(held.body)["reason"] == "filling", held
token = JSON.parse(taken.body)["lease"]["token"]
answer = put("/entries/report", "done", "Lease" => token)
check answer.is_a?(Net::HTTPSuccess), answer
hit = take({ wait: 5 })
check value(hit) == "done", hit
# A lease fills once.
answer = put("/entries/report", "late", "Lease" => token)
check answer.code == "412" && JSON.parse(answer.body)["code"] == "lease_lost", answer

# Odd keys: ERB::Util.url_encode in a path, URI.encode_www_form in a query; `..` and what begins with a slash by the query alone.
["a b", "a+b", "50%", "user/42", "what?", "#1", "crème ☕", "&=;"].each do |key|
  answer = put("/entries/#{ERB::Util.url_encode(key)}", key)
  check answer.is_a?(Net::HTTPSuccess), answer
  ["/entries/#{ERB::Util.url_encode(key)}", "/entry?#{URI.encode_www_form(key: key)}"].each do |path|
    answer = get(path)
    check value(answer) == key, answer
  end
end
[".", "..", "/rooted", "a//b"].each do |key|
  path = "/entry?#{URI.encode_www_form(key: key)}"
  answer = put(path, key)
  check answer.is_a?(Net::HTTPSuccess), answer
  answer = get(path)
  check value(answer) == key, answer
end

# URI.join folds `..`, and this asks to drop the whole namespace: it is refused.
folded = URI.join("http://pantler#{SHOP}/entries/", "../../ruby").path
answer = HTTP.delete(folded)
check JSON.parse(answer.body)["code"] == "confirmation_required", answer

# What goes on all day.
(1..500).each do |number|
  answer = put("/entries/item-#{number}", number, "Content-Type" => "application/json")
  check answer.is_a?(Net::HTTPSuccess), answer
  answer = get("/entries/item-#{number}")
  check value(answer) == number, answer
end
