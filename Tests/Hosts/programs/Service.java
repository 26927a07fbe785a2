// A user's service: puts and gets by TLS with a token, both read anew as they are rotated. Only Java's own library: `java Service.java`.

import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.Set;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

class Service {
    static final String NAME = System.getenv("NAME");
    static final String URL = System.getenv("PANTLER_URL");
    static final Path TOKEN_FILE = Path.of(System.getenv("PANTLER_TOKEN_FILE"));
    static final Path STATUS = Path.of(System.getenv("STATUS_FILE"));
    static final Path STOP = Path.of(System.getenv("STOP_FILE"));

    // So often a service's pool begins a new connection, which is when it is shown the certificate.
    static final int REQUESTS_OF_A_CLIENT = 50;

    static long requests = 0, failures = 0;
    static final Set<String> serials = new LinkedHashSet<>(), tokens = new LinkedHashSet<>();

    static SSLContext trust() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(System.getenv("PANTLER_CA")))) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    static void tell() throws IOException {
        Path fresh = STATUS.resolveSibling("status.fresh");
        Files.writeString(fresh, String.format("{\"requests\": %d, \"failures\": %d, \"serials\": [%s], \"tokens\": [%s]}", requests, failures,
            String.join(", ", serials), String.join(", ", tokens)));
        Files.move(fresh, STATUS, StandardCopyOption.ATOMIC_MOVE);
    }

    static String call(HttpClient client, String method, String path, String body) throws Exception {
        String token = Files.readString(TOKEN_FILE).strip();
        // Not the token itself: what a program prints is read by many.
        tokens.add(Integer.toString(token.hashCode()));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(URL + path)).timeout(Duration.ofSeconds(30))
            .header("Authorization", "Bearer " + token);
        if (body == null) {
            request.GET();
        } else {
            request.header("Content-Type", "application/json").method(method, HttpRequest.BodyPublishers.ofString(body));
        }
        requests++;
        try {
            HttpResponse<String> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            X509Certificate shown = (X509Certificate) answer.sslSession().orElseThrow().getPeerCertificates()[0];
            serials.add(shown.getSerialNumber().toString());
            if (answer.statusCode() == 200 || answer.statusCode() == 201) return answer.body();
            System.out.println(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
        } catch (IOException error) {
            System.out.println(method + " " + path + ": " + error);
        }
        failures++;
        return null;
    }

    public static void main(String[] arguments) throws Exception {
        SSLContext trust = trust();
        long number = 0;
        while (!Files.exists(STOP)) {
            HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).sslContext(trust).build();
            for (int turn = 0; turn < REQUESTS_OF_A_CLIENT / 2; turn++) {
                number++;
                String path = "/v1/namespaces/" + NAME + "/entries/key-" + number % 100;
                call(client, "PUT", path, "{\"value\":" + number + ",\"ttl\":600}");
                String answer = call(client, "GET", path, null);
                if (answer != null && !answer.contains("\"value\":" + number + ",")) {
                    System.out.println(path + " is " + answer + ", and was put as " + number);
                    failures++;
                }
                Thread.sleep(2);
            }
            tell();
        }
        tell();
    }
}
