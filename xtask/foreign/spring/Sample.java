import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;

/** Spring Authorization Server as Spring Boot sets it up from application.yml. */
@EnableAutoConfiguration
public class Sample {
    public static void main(String[] arguments) {
        SpringApplication.run(Sample.class, arguments);
    }
}
